import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import de.bwaldvogel.mongo.wire.message.MongoQuery;
import io.netty.channel.Channel;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;
import org.h2.mvstore.MVStore;

/** Serves MongoDB's wire protocol from an H2 file: MongoServerMain HOST PORT FILE. */
public final class MongoServerMain {

    /** How old acknowledged writes are that a SIGKILL can lose. */
    private static final int COMMIT_INTERVAL_MS = 50;

    /**
     * Writes to disk between requests only. H2's own commits come at any moment, also between a document and its
     * entry in an index: after a SIGKILL one is there without the other, and cannot be found or written any more.
     */
    private static final class Backend extends H2Backend {
        private final ReadWriteLock requests = new ReentrantReadWriteLock(true);

        Backend(MVStore store) {
            super(store);
        }

        void commitBetweenRequests() {
            requests.writeLock().lock();
            try {
                getMvStore().commit();
            } catch (RuntimeException error) { // a full disk: H2 closes the store, and every request says so
                System.err.println("cannot write the store: " + error.getMessage());
            } finally {
                requests.writeLock().unlock();
            }
        }

        @Override
        public Document handleCommand(Channel channel, String database, String command, Document query) {
            return answer(() -> super.handleCommand(channel, database, command, query));
        }

        @Override
        public QueryResult handleQuery(MongoQuery query) {
            return answer(() -> super.handleQuery(query));
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            return answer(() -> super.handleMessage(message));
        }

        private <Answer> Answer answer(Supplier<Answer> request) {
            requests.readLock().lock();
            try {
                return request.get();
            } finally {
                requests.readLock().unlock();
            }
        }
    }

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
            return new MVStore.Builder().fileName(file).autoCommitDisabled().open();
        } catch (RuntimeException error) {
            System.err.println("cannot open the store " + file + ": " + error.getMessage());
            System.exit(1);
            throw error;
        }
    }

    public static void main(String[] arguments) {
        MVStore store = open(arguments[2]);
        Backend backend = new Backend(store);
        backend.version(new Version());
        ScheduledExecutorService commits = Executors.newSingleThreadScheduledExecutor();
        commits.scheduleWithFixedDelay(
            backend::commitBetweenRequests, COMMIT_INTERVAL_MS, COMMIT_INTERVAL_MS, TimeUnit.MILLISECONDS
        );
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
