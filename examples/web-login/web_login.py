"""Accounts with a password, and a page that only those see who are logged in."""

import os

from flask import Flask, Response, abort, jsonify, request
from werkzeug.security import check_password_hash, generate_password_hash

from sessman import SessionManager
from sessman.flask import current_session, init_app, require_user

app = Flask(__name__)
init_app(app, SessionManager.from_environment())

# A real application has a database here.
passwords: dict[str, str] = {}
# Checked when there is no such user, so that a guess takes as long as a miss.
NOBODY = generate_password_hash(os.urandom(16).hex())


@app.post("/register")
def register() -> tuple[Response, int]:
    """Take a name and a password."""
    name = request.form["name"]
    if name in passwords:
        abort(409, "this name is taken")
    passwords[name] = generate_password_hash(request.form["password"])
    return jsonify(registered=name), 201


@app.post("/login")
def login() -> Response:
    """Begin the user's session, under a new id."""
    name = request.form["name"]
    if not check_password_hash(passwords.get(name, NOBODY), request.form["password"]):
        abort(401, "wrong name or password")
    current_session().log_in(name)
    return jsonify(hello=name)


@app.get("/profile")
@require_user
def profile() -> Response:
    """Show what is only for the user."""
    return jsonify(name=current_session().user_id)


@app.post("/logout")
def logout() -> Response:
    """End the session."""
    current_session().log_out()
    return jsonify(bye=True)


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
