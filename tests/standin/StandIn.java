import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/** A MongoDB stand-in on the loopback address: {@code java StandIn PORT}; port 0 takes any free one. */
public final class StandIn {
    /** The library's newest version says wire version 8, and the driver under test refuses less than 9. */
    private static final MongoVersion VERSION = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(6, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 17;
        }
    };

    public static void main(String[] arguments) {
        // The library writes its answers from the live documents, after it has let go of the lock, and locks no inserts
        // out while it makes an index: with more threads than one, an answer shows what a later update did.
        System.setProperty("io.netty.eventLoopThreads", "1");
        int port = Integer.parseInt(arguments[0]);
        MongoServer server = new MongoServer(new MemoryBackend().version(VERSION));
        try {
            server.bind("127.0.0.1", port);
        } catch (Exception error) {
            // The server's threads would keep a process alive that never prints the line its starter waits for.
            System.err.println("port " + port + ": " + error.getMessage());
            System.exit(1);
        }

        // Whoever started us may be killed without a chance to stop us; a test run must leave no server behind.
        ProcessHandle.current().parent().ifPresent(parent -> parent.onExit().thenRun(() -> System.exit(0)));

        // The starter waits for this line: the port is bound before it is printed.
        System.out.println(server.getLocalAddress().getPort());
        System.out.flush();
    }
}
