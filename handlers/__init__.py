"""One coroutine per operation. Thin: they check rights and form, then ask storage and the live side."""
