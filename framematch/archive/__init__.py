"""Events and logs in MongoDB: a consumer group that stores them, and the queries that read them."""
