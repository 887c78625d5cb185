"""How long an answer of the store is waited for."""

import time

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0
# Whoever sits in front of it is told soon; a worker outlasts a laptop that sleeps over the weekend.
PROMPT_S, PATIENT_S = 60.0, 3 * 86_400.0
# A store that has never answered is most likely not there at all.
STRANGER_S = 1.0


class Patience:
    """Pauses between tries, growing from a quarter of a second to a quarter of a minute."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.renew()

    def renew(self) -> None:
        """Begin anew: something has worked."""
        self._end = time.monotonic() + self._limit_s
        self._pause = _FIRST_PAUSE_S

    def wait(self) -> bool:
        """Wait for the time of the next try; False where there is none."""
        left = self._end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(self._pause, left))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)
        return True
