// Kafka's OAUTHBEARER without a broker: what its clients use to get a token, and what its brokers use to verify one.

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Map;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.login.AppConfigurationEntry.LoginModuleControlFlag;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.SaslConfigs;
import org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator;
import org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule;

public class Kafka {
    public static void main(String[] args) throws IOException {
        var issuer = System.getenv("ISSUER");
        System.setProperty("org.apache.kafka.sasl.oauthbearer.allowed.urls", issuer + "/token," + issuer + "/jwks");
        var definition = new ConfigDef();
        SaslConfigs.addClientSaslSupport(definition);
        var config = new AbstractConfig(definition, Map.of(
            SaslConfigs.SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL, issuer + "/token",
            SaslConfigs.SASL_OAUTHBEARER_CLIENT_CREDENTIALS_CLIENT_ID, System.getenv("CLIENT_ID"),
            SaslConfigs.SASL_OAUTHBEARER_CLIENT_CREDENTIALS_CLIENT_SECRET, System.getenv("CLIENT_SECRET"),
            SaslConfigs.SASL_OAUTHBEARER_SCOPE, "produce",
            SaslConfigs.SASL_OAUTHBEARER_JWKS_ENDPOINT_URL, issuer + "/jwks",
            SaslConfigs.SASL_OAUTHBEARER_EXPECTED_ISSUER, issuer,
            SaslConfigs.SASL_OAUTHBEARER_EXPECTED_AUDIENCE, List.of("kafka"))).values();
        var retriever = new ClientCredentialsJwtRetriever();
        var jaas = List.of(new AppConfigurationEntry(OAuthBearerLoginModule.class.getName(), LoginModuleControlFlag.REQUIRED, Map.of()));
        retriever.configure(config, "OAUTHBEARER", jaas);
        var validator = new BrokerJwtValidator();
        validator.configure(config, "OAUTHBEARER", jaas);

        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
        server.createContext("/", exchange -> {
            String answer = "at home";
            int status = 200;
            if (exchange.getRequestURI().getPath().equals("/token")) {
                try {
                    var jwt = retriever.retrieve();
                    var token = validator.validate(jwt);
                    answer = "{\"access_token\": \"%s\", \"claims\": {\"sub\": \"%s\"}}".formatted(jwt, token.principalName());
                } catch (Exception error) {
                    status = 500;
                    answer = error.toString();
                }
            }
            exchange.sendResponseHeaders(status, 0);
            try (var body = exchange.getResponseBody()) {
                body.write(answer.getBytes());
            }
        });
        server.start();
    }
}
