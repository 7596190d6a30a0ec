"""Real servers on one machine, without Docker: Kafka, Triton, a MongoDB-compatible server and RTSP."""
