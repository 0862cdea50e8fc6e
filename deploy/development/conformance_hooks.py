"""Who asks in a run of schemathesis (conformance.sh), and what no schema can say."""

import os
import secrets
import subprocess

import requests
import schemathesis

URL = os.environ["CONFORMANCE_URL"]
CALLER = os.environ["CONFORMANCE_CALLER"]
PASSWORD = secrets.token_hex(16)


def post(path, body, token=None):
    """The JSON that a request to the service itself is answered with."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.post(f"{URL}/api/v1{path}", json=body, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()


def sign_in(name):
    """The token of a new session."""
    return post("/auth/login", {"username": name, "password": PASSWORD})["token"]


def new_admin():
    """The token of a new administrator, made as operators make one."""
    name = f"admin-{secrets.token_hex(8)}"
    command = [os.environ["CONFORMANCE_SERVICE"], "admin", "create-admin", "--username", name]
    subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True, timeout=30)
    return sign_in(name)


def new_user():
    """The token of a new user who is no administrator."""
    name = f"user-{secrets.token_hex(8)}"
    post("/users", {"username": name, "password": PASSWORD}, new_admin())
    return sign_in(name)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Streams of lines are left to the service's own tests: a schema describes no body of many documents."""
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict) and "requestBody" in operation:
                operation["requestBody"]["content"].pop("application/x-ndjson", None)


class SignedIn:
    """A session of an account of its own. What is tried ends sessions, and blocks, demotes and deletes
    accounts: after a 401 schemathesis comes here for another and repeats the request."""

    def get(self, case, context):
        return new_admin() if CALLER == "admin" else new_user()

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


if CALLER != "nobody":
    schemathesis.auth()(SignedIn)


@schemathesis.check
def only_cursors_are_unreadable(ctx, response, case):
    """conformance.toml allows 400 as an answer to what the schema allows, because the service signs cursors
    and no schema can say which it signed. Here it is held to just that."""
    meta = case.meta
    if response.status_code != 400 or meta is None or not meta.generation.mode.is_positive:
        return
    # Where it finds no right value for a parameter, schemathesis takes a wrong one to try the others.
    if any(component.mode.is_negative for component in meta.components.values()):
        return
    pointers = [error["pointer"] for error in response.json().get("errors", [])]
    assert pointers == ["/query/cursor"], f"the schema allows it, and yet it is refused: {pointers}"
