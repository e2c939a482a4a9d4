import java.nio.file.Path;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.harness.Neo4j;
import org.neo4j.harness.Neo4jBuilders;

/** A Neo4j with Bolt and passwords, and nothing else: {@code Neo4jServer PORT FOLDER}. */
public class Neo4jServer {
    public static void main(String[] arguments) throws Exception {
        SocketAddress address = new SocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
        Neo4j server = Neo4jBuilders.newInProcessBuilder(Path.of(arguments[1]))
            .withDisabledServer()
            .withConfig(BoltConnector.listen_address, address)
            .withConfig(BoltConnector.advertised_address, address)
            .withConfig(GraphDatabaseSettings.auth_enabled, true)
            .withConfig(GraphDatabaseSettings.udc_enabled, false)
            .build();
        System.out.println(server.boltURI());
        Thread.currentThread().join();
    }
}
