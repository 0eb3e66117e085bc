"""The edge: sockets and HTTP. Starlette and uvicorn live here and nowhere below."""
