"""The pages for people: the way in and out."""

from http import HTTPStatus

from tornado.web import HTTPError

from hive.gateway.answers import Answer
from hive.gateway.door import COOKIE, keep
from hive.gateway.files import text_of


class Home(Answer):
    """The front page."""

    def get(self) -> None:
        """Show what goes on."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(text_of("index.html"))


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
        self.finish(text_of("login.html").replace(b"{said}", said.encode()))


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
