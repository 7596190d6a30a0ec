import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.util.List;
import org.h2.mvstore.MVStore;

/** Serves MongoDB's wire protocol from an H2 file: MongoServerMain HOST PORT FILE. */
public final class MongoServerMain {

    /** What an acknowledged write can lose to a SIGKILL; H2's own default is a second. */
    private static final int AUTO_COMMIT_DELAY_MS = 50;

    /** The library's own versions stop at wire version 8, and current drivers ask for 9 or more. */
    private static final class Version implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    }

    private MongoServerMain() {}

    private static MVStore open(String file) {
        try {
            return new MVStore.Builder().fileName(file).open();
        } catch (RuntimeException error) {
            System.err.println("cannot open the store " + file + ": " + error.getMessage());
            System.exit(1);
            throw error;
        }
    }

    public static void main(String[] arguments) {
        MVStore store = open(arguments[2]);
        store.setAutoCommitDelay(AUTO_COMMIT_DELAY_MS);
        H2Backend backend = new H2Backend(store);
        backend.version(new Version());
        MongoServer server = new MongoServer(backend);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        try {
            server.bind(arguments[0], Integer.parseInt(arguments[1]));
        } catch (Exception error) { // netty throws checked ones undeclared
            System.err.println("cannot listen at " + arguments[0] + ":" + arguments[1] + ": " + error.getMessage());
            System.exit(1); // its threads would keep the process
        }
        System.out.println("listening at " + server.getConnectionString());
    }
}
