// Runs once, when MongoDB's data volume is empty: the services' user, with rights on their own database alone.
db.createUser({
  user: process.env.MONGO_USER,
  pwd: process.env.MONGO_PASSWORD,
  roles: [{ role: "readWrite", db: db.getName() }],
});
