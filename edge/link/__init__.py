"""How a camera's process and the service exchange frames: messages over a socket, pictures and counts in memory."""
