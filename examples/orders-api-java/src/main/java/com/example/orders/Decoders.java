package com.example.orders;

import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.net.MalformedURLException;
import java.net.URI;
import java.time.Duration;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.core.OAuth2TokenValidator;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtIssuerValidator;
import org.springframework.security.oauth2.jwt.JwtTimestampValidator;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;

/** What the issuer signs: access tokens and status lists, told apart by their type, checked against the same keys. */
class Decoders {

  private final String issuer;
  private final JWKSource<SecurityContext> keys;

  Decoders(String issuer, long keysSeconds) throws MalformedURLException {
    this.issuer = issuer;
    // Spring's own source asks the issuer for every key id that it does not know, and anybody can make one up.
    this.keys = JWKSourceBuilder.create(URI.create(issuer + "/jwks").toURL())
        .cache(keysSeconds * 1000, 5_000).refreshAheadCache(false).rateLimited(5_000)
        .retrying(true).outageTolerant(Duration.ofDays(1).toMillis()).build();
  }

  JwtDecoder accessTokens(String audience) {
    var rfc9068 = JwtValidators.createAtJwtValidator().issuer(issuer).audience(audience)
        .validators(each -> each.put("client_id", new JwtClaimValidator<String>("client_id", id -> id != null)))
        .build();
    var lists = decoder("statuslist+jwt", new JwtIssuerValidator(issuer));
    return decoder("at+jwt", new DelegatingOAuth2TokenValidator<>(rfc9068, new NotRevoked(issuer, lists)));
  }

  private JwtDecoder decoder(String type, OAuth2TokenValidator<Jwt> validator) {
    var processor = new DefaultJWTProcessor<SecurityContext>();
    // An ID token has the same issuer and the same keys: only its type tells it from an access token. (RFC 9068 §4)
    processor.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType(type)));
    processor.setJWSKeySelector(new JWSVerificationKeySelector<>(JWSAlgorithm.RS256, keys));
    processor.setJWTClaimsSetVerifier(null); // the validators below do that
    var decoder = new NimbusJwtDecoder(processor);
    var time = new JwtTimestampValidator(Duration.ofSeconds(5));
    decoder.setJwtValidator(new DelegatingOAuth2TokenValidator<>(time, validator));
    return decoder;
  }
}
