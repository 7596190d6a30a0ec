"""What is watched while frames flow: Kafka, the GPU, traces, and that anything moves at all."""
