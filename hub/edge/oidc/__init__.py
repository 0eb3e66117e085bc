"""Signing in with OpenID Connect: the authorization code flow with PKCE. Decision 0040.

`rules` says which providers there are, `attempts` what a browser was sent away with, `provider` asks a provider,
`claims` believes what it answers or does not, `mangled` understands an address that a proxy encoded twice, and
`side` is the HTTP side of it all. Who a foreign subject is here, `handlers.logins` knows.
"""
