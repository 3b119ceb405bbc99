// Begins the replica set and makes the user of pserve, once; told again, it gives the user the password of .env.
// Run by mongosh, with the names and passwords in the environment.
const { MONGODB_ROOT_PASSWORD, MONGODB_USERNAME, MONGODB_PASSWORD } = process.env;
const server = "mongodb:27017";
const login = `root:${encodeURIComponent(MONGODB_ROOT_PASSWORD)}`;
const admin = new Mongo(`mongodb://${login}@${server}/?directConnection=true`).getDB("admin");

if (!admin.hello().setName) {
  admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: server }] } });
}
// The only member is elected in a moment, and until then takes no writes.
while (!admin.hello().isWritablePrimary) {
  sleep(200);
}

// It may read and write sessions, and make their indexes; nothing else on the server is open to it.
const sessman = admin.getSiblingDB("sessman");
const roles = [{ role: "readWrite", db: "sessman" }];
if (sessman.getUser(MONGODB_USERNAME) === null) {
  sessman.createUser({ user: MONGODB_USERNAME, pwd: MONGODB_PASSWORD, roles });
} else {
  sessman.updateUser(MONGODB_USERNAME, { pwd: MONGODB_PASSWORD, roles });
}
print(`the replica set is there, and so is its user ${MONGODB_USERNAME}`);
