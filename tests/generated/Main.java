// A session through the client that openapi-generator makes from the description.

import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.ServiceApi;
import org.openapitools.client.api.SessionApi;
import org.openapitools.client.model.CreateSessionRequest;
import org.openapitools.client.model.EndMySessionsRequest;
import org.openapitools.client.model.GetSessionWithBodyRequest;
import org.openapitools.client.model.Page;
import org.openapitools.client.model.Session;
import org.openapitools.client.model.UpdateSessionRequest;

public final class Main {
    private static void check(String what, boolean ok) {
        if (!ok) {
            System.out.println(what);
            System.exit(1);
        }
    }

    public static void main(String[] arguments) throws ApiException {
        ApiClient client = new ApiClient();
        client.updateBaseUri(arguments[0] + "/sessman");
        client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + arguments[1]));
        ServiceApi service = new ServiceApi(client);
        SessionApi sessions = new SessionApi(client);

        Session begun = service.createSession(
            new CreateSessionRequest().userId("ada").ttlSeconds(600L).data(Map.of("theme", "dark")));
        String id = begun.getSessionId();

        Session read = sessions.getSession(null, id, null);
        check("get", "ada".equals(read.getUserId()) && Map.of("theme", "dark").equals(read.getData()));

        UpdateSessionRequest change = new UpdateSessionRequest()
            .mode(UpdateSessionRequest.ModeEnum.MERGE).data(Map.of("cart", List.of(1, 2)));
        Session changed = sessions.updateSession(id, null, change);
        check("update", changed.getVersion() == 2L);

        Page mine = sessions.listMySessions(null, null, null, id);
        check("mine", mine.getSessions().size() == 1);
        check("others", sessions.endMySessions(id, new EndMySessionsRequest().others(EndMySessionsRequest.OthersEnum.TRUE)).getEnded() == 0);

        sessions.endSession(id, new GetSessionWithBodyRequest());
        try {
            sessions.getSession(null, id, null);
            check("after its end", false);
        } catch (ApiException error) {
            check("after its end", error.getCode() == 404);
        }
        System.out.println("a session was begun, read, changed, listed and ended");
    }
}
