"""For every test: how long an example may take is no assertion, on machines where neighbours decide it."""

from hypothesis import settings

settings.register_profile("dojo")
settings.load_profile("dojo")
