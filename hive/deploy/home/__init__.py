"""Moving the home of a Hive, its Redis and its gateway, to another machine and back."""

from hive.deploy.home.moving import Moved, move
from hive.deploy.home.returning import move_back, take_back

__all__ = ["Moved", "move", "move_back", "take_back"]
