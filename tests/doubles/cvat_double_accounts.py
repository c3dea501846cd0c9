"""The routes of the server itself, of users and of organizations."""

from __future__ import annotations

import secrets

from cvat_double_json import ABOUT
from cvat_double_routes import Answer, Call, Routes, forbidden
from cvat_double_things import Rejected


class AccountRoutes(Routes):
    """Logging in and out, who there is, which version this is."""

    def __init__(self, *how) -> None:
        super().__init__(*how)
        self.add("/api/auth/login", POST=self.login)
        self.add("/api/auth/logout", POST=self.logout)
        self.add("/api/server/about", GET=self.about)
        if self.has("there are personal access tokens"):
            self.add("/api/auth/access_tokens", POST=self.create_token)
            self.add("/api/auth/access_tokens/self", GET=self.token)
        self.add("/api/users", GET=self.users)
        self.add("/api/users/self", GET=lambda call: Answer(json=self.show.user(call.user)))
        self.add("/api/organizations", GET=self.organizations)
        self.add("/api/organizations/N", GET=self.organization)

    def login(self, call: Call) -> Answer:
        body = call.body if isinstance(call.body, dict) else {}
        name, password = body.get("username"), body.get("password")
        if password is None or (name is None and body.get("email") is None):
            raise Rejected(['Must include either "username" or "email" and "password".'])
        for user in self.state.users.values():
            if (user.username == name or user.email == body.get("email")) and (
                user.password == password
            ):
                break
        else:
            wrong = "Unable to log in with provided credentials."
            raise Rejected({"non_field_errors": [wrong]})
        session, token = secrets.token_hex(16), secrets.token_hex(16)
        self.state.sessions[session] = (user, token)
        user.last_login = self.state.clock.now()
        tail = "; Path=/; SameSite=Lax"
        cookies = [
            ("Set-Cookie", f"csrftoken={token}{tail}"),
            ("Set-Cookie", f"sessionid={session}; HttpOnly{tail}"),
        ]
        if self.has("answers have more keys"):
            cookies.append(("Set-Cookie", f"sessionfresh=1; HttpOnly{tail}"))
        return Answer(json={"key": user.key}, headers=cookies)

    def logout(self, call: Call) -> Answer:
        for session, (user, _) in list(self.state.sessions.items()):
            if user is call.user:
                del self.state.sessions[session]
        return Answer(json={"detail": "Successfully logged out."})

    def about(self, call: Call) -> Answer:
        return Answer(json={**ABOUT, "version": self.state.version.text})

    def users(self, call: Call) -> Answer:
        users = sorted(self.state.users.values(), key=lambda user: -user.id)
        if call.organization is not None:
            users = [user for user in users if user.username in call.organization.members]
        elif not call.user.is_admin:
            users = [call.user]
        show = self.show.user if call.user.is_admin else self.show.short_user
        return self.page(call, self.filtered(call, [show(u) for u in users], ("id", "username")))

    def create_token(self, call: Call) -> Answer:
        read_only = call.body.get("read_only", True)
        token = self.state.add_token(call.user, read_only, expires=call.body.get("expiry_date"))
        token.name = call.body.get("name", token.name)
        return Answer(201, {**self.show.token(token), "value": token.value})

    def token(self, call: Call) -> Answer:
        if call.token is None:
            raise self.not_found("AccessToken")
        return Answer(json=self.show.token(call.token))

    def organization(self, call: Call, number: int) -> Answer:
        organization = self.state.organizations.get(number)
        if organization is None:
            raise self.not_found("Organization")
        if not call.user.is_admin and call.user.username not in organization.members:
            raise forbidden()
        return Answer(json=self.show.organization(organization))

    def organizations(self, call: Call) -> Answer:
        mine = [
            self.show.organization(each)
            for each in self.state.organizations.values()
            if call.user.is_admin or call.user.username in each.members
        ]
        return self.page(call, self.filtered(call, mine[::-1], ("slug", "name")))
