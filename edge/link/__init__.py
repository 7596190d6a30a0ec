"""What passes between a camera's process and the service: messages on a socket, the rest in shared memory."""
