"""`Dojo`: the one façade. The command line, the web service and Python users call it; nothing is done only in a command."""

from harness.service.accounts import People
from harness.service.answers import Items
from harness.service.artefacts import Artefacts
from harness.service.backbones import Backbones
from harness.service.catalogue import Catalogue
from harness.service.cluster import Cluster
from harness.service.data import Data
from harness.service.images import Images
from harness.service.kept import Kept
from harness.service.lists import Lists
from harness.service.models import Models
from harness.service.results import Results
from harness.service.runs import BatchStatus
from harness.service.shells import Shells
from harness.service.tasks import Tasks
from harness.service.tidy import Tidy
from harness.service.trajectories import Trajectories


class Dojo(
    Results,
    Lists,
    Tidy,
    Items,
    Kept,
    Artefacts,
    Trajectories,
    Shells,
    Catalogue,
    Tasks,
    Models,
    Data,
    Images,
    Cluster,
    Backbones,
    People,
):
    """Everything dojo does, over one results directory and one cache.

    Args:
        home: results directory, or the folder of a single run; default ``$DOJO_HOME`` or ``./results``.
        cache: models and data; default ``$DOJO_CACHE`` or ``~/.cache/dojo``.
        tasks: directories to look for tasks in beside the built-in ones; default ``$DOJO_TASKS``.
        agents: directories to look for agents in beside the built-in ones; default ``$DOJO_AGENTS``.
        database: an SQLAlchemy URL; default SQLite inside ``home``.
        sandbox: the backend used where a call names none.
        artefacts: address of where runs that have ended are kept too; default ``$DOJO_ARTEFACTS``, or nowhere.
    """


__all__ = ["BatchStatus", "Dojo"]
