"""A shop in Flask: a cart for everybody, a page for those who are logged in."""

from flask import Flask, Response, jsonify, request, session

from sessman import SessionManager
from sessman.flask import current_session, init_app, require_user

application = Flask(__name__)
init_app(application, SessionManager.from_environment())


@application.get("/cart")
def cart() -> Response:
    """Show the cart."""
    return jsonify(cart=session.get("cart", []))


@application.post("/cart")
def add() -> Response:
    """Put something into it."""
    session.setdefault("cart", []).append(request.get_json()["item"])
    return cart()


@application.post("/login")
def login() -> Response:
    """Log in; a real shop asks for a password here."""
    current_session().log_in(request.get_json()["user"])
    return me()


@application.get("/me")
@require_user
def me() -> Response:
    """Say who is logged in."""
    return jsonify(user=current_session().user_id)


@application.post("/logout")
def logout() -> Response:
    """End the session."""
    current_session().log_out()
    return jsonify(ok=True)


@application.get("/about")
def about() -> Response:
    """Answer without a look at the session."""
    return jsonify(about="a shop")
