"""Exchange a name and a password for a token."""

from django.contrib.auth import authenticate
from msgspec import Struct
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door, Throttle
from datapunk_broker.api.fields import Text
from datapunk_broker.api.reading import parsed


class Credentials(Struct, kw_only=True, forbid_unknown_fields=True):
    """Who asks."""

    username: Text
    password: Text


class GivenToken(Struct):
    """For the header ``Authorization: Token …``."""

    token: str


class CredentialsInvalidError(APIException):
    """Nobody has this name with this password, or they are not active."""

    status_code = 400
    default_code = "credentials_invalid"
    default_detail = "Nobody who is active has this name and password."


class Guesses(Throttle):
    """So many tries of a peer: who guesses passwords can give each try another X-Forwarded-For."""

    scope = "datapunk_broker_token"

    def get_ident(self, request: Request) -> str:
        return str(request.META.get("REMOTE_ADDR", ""))


class ObtainToken(Door):
    """The one door that asks for no credentials but those in the body."""

    room = "token"
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (Guesses,)

    @operation("obtain_token", body=Credentials, answers={200: GivenToken})
    def post(self, request: Request) -> Response:
        """Return one's token; it is made the first time."""
        given = parsed(request, Credentials)
        user = authenticate(request, username=given.username, password=given.password)
        if user is None:
            raise CredentialsInvalidError
        token, _ = Token.objects.get_or_create(user=user)
        return Response(GivenToken(token.key))
