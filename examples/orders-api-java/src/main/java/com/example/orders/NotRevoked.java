package com.example.orders;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.springframework.http.client.SimpleClientHttpRequestFactory;
import org.springframework.security.oauth2.core.OAuth2Error;
import org.springframework.security.oauth2.core.OAuth2TokenValidator;
import org.springframework.security.oauth2.core.OAuth2TokenValidatorResult;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.web.client.RestClient;

/** Refuses a token that its status list says is revoked; the lists are kept as long as they allow. */
class NotRevoked implements OAuth2TokenValidator<Jwt> {

  private final String issuer;
  private final JwtDecoder decoder;
  private final RestClient http;
  private final Map<String, StatusList> lists = new ConcurrentHashMap<>();

  NotRevoked(String issuer, JwtDecoder decoder) {
    this.issuer = issuer;
    this.decoder = decoder;
    var requests = new SimpleClientHttpRequestFactory();
    requests.setConnectTimeout(Duration.ofSeconds(5));
    requests.setReadTimeout(Duration.ofSeconds(5));
    this.http = RestClient.builder().requestFactory(requests).build();
  }

  @Override
  public OAuth2TokenValidatorResult validate(Jwt token) {
    if (!token.hasClaim("status")) return OAuth2TokenValidatorResult.success();
    if (!(token.getClaimAsMap("status").get("status_list") instanceof Map<?, ?> place)
        || !(place.get("uri") instanceof String uri) || !uri.startsWith(issuer + "/status-lists/")
        || !(place.get("idx") instanceof Number idx)) return refused("the token names no list of its issuer");
    var list = lists.compute(uri, (key, known) -> known == null || known.isDue() ? newest(key, known) : known);
    if (list.isExpired()) return refused("nobody can tell whether the token was revoked");
    return list.isSet(idx.intValue()) ? refused("the token was revoked") : OAuth2TokenValidatorResult.success();
  }

  /** While no newer list can be had, the last one serves until it has expired. */
  private StatusList newest(String uri, StatusList known) {
    try {
      var list = decoder.decode(http.get().uri(uri).retrieve().body(String.class));
      if (!uri.equals(list.getSubject())) throw new IllegalStateException("this is another list");
      return StatusList.of(list);
    } catch (RuntimeException error) {
      if (known == null) throw error;
      return known.dueAgainIn(5);
    }
  }

  private static OAuth2TokenValidatorResult refused(String why) {
    return OAuth2TokenValidatorResult.failure(new OAuth2Error("invalid_token", why, null));
  }
}
