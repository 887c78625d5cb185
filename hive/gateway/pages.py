"""The pages for people: the way in and out."""

from http import HTTPStatus

from tornado.web import HTTPError

from hive.gateway.answers import Answer
from hive.gateway.door import COOKIE, keep

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Hive: log in</title></head>
<body>
<main>
<h1>Hive</h1>
<form method="post" action="/login">
<p><label for="token">Token of this Hive: the content of <code>gateway.token</code> in its folder HIVE_HOME.</label></p>
<p><input id="token" name="token" type="password" autocomplete="current-password" required autofocus></p>
<p>{said}</p>
<p><button>Log in</button></p>
</form>
</main>
</body>
</html>
"""


class Home(Answer):
    """The front page."""

    def get(self) -> None:
        """Show what goes on: Flower's view of workers and jobs."""
        self.redirect("/flower/")


class LogIn(Answer):
    """The page that asks for the token."""

    def get(self) -> None:
        """Ask for it."""
        self._ask("")

    def post(self) -> None:
        """Exchange it for a cookie that no script can read and no other site can use."""
        if self.request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise HTTPError(HTTPStatus.FORBIDDEN, reason="Log in from this page itself")
        try:
            cookie = self.application.door.log_in(self.get_body_argument("token", ""))
        except PermissionError:
            self.set_status(HTTPStatus.TOO_MANY_REQUESTS)
            self._ask("Too many wrong tokens. Wait a minute.")
            return
        if cookie is None:
            self.set_status(HTTPStatus.UNAUTHORIZED)
            self._ask("That is not the token.")
            return
        keep(self, cookie)
        self.redirect("/")

    def _ask(self, said: str) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_PAGE.format(said=said))


class LogOut(Answer):
    """The way out."""

    def post(self) -> None:
        """Forget the cookie."""
        self.clear_cookie(COOKIE)
        self.redirect("/login")


class Healthcheck(Answer):
    """Whether the gateway answers."""

    def get(self) -> None:
        """Say so."""
        self.say({"state": "up"})
