"""What every request passes before its body is read: pure ASGI middleware."""
