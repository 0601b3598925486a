"""Yeast, dough, starter and mixer: processes as functions, and as modules whose constants can be fitted."""

from optim.models.processes.dough import Dough as Dough
from optim.models.processes.dough import dough_maturity as dough_maturity
from optim.models.processes.starter import Starter as Starter
from optim.models.processes.starter import StarterState as StarterState
from optim.models.processes.starter import starter as starter
from optim.models.processes.vibration import Mixer as Mixer
from optim.models.processes.vibration import flavour_stability as flavour_stability
from optim.models.processes.vibration import smooth_process as smooth_process
from optim.models.processes.vibration import tricky_process as tricky_process
from optim.models.processes.vibration import vibration_score as vibration_score
from optim.models.processes.yeast import Yeast as Yeast
from optim.models.processes.yeast import yeast_activity as yeast_activity
