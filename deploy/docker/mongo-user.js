// Runs once, when MongoDB's data volume is empty. Creates the services' user, with rights only on their database.
db.createUser({
  user: process.env.MONGO_USER,
  pwd: process.env.MONGO_PASSWORD,
  roles: [{ role: "readWrite", db: db.getName() }],
});
