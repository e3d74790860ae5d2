"""`dojo serve`: the façade over HTTP, for many users of one installation."""
