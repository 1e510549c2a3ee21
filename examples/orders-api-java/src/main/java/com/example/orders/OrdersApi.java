package com.example.orders;

import java.util.List;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.security.access.prepost.PreAuthorize;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.method.configuration.EnableMethodSecurity;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.http.SessionCreationPolicy;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Answers who has an access token of the issuer for this API: verified offline, with Spring Security. */
@SpringBootApplication
@EnableMethodSecurity
@RestController
public class OrdersApi {

  public static void main(String[] args) {
    SpringApplication.run(OrdersApi.class, args);
  }

  @GetMapping("/orders")
  @PreAuthorize("hasAuthority('SCOPE_orders:read')")
  Map<String, Object> orders(@AuthenticationPrincipal Jwt token) {
    return Map.of("person", token.getSubject(), "orders", List.of());
  }

  @Bean
  SecurityFilterChain security(HttpSecurity http) throws Exception {
    return http.authorizeHttpRequests(requests -> requests.anyRequest().authenticated())
        .oauth2ResourceServer(server -> server.jwt(Customizer.withDefaults()))
        .sessionManagement(sessions -> sessions.sessionCreationPolicy(SessionCreationPolicy.STATELESS))
        .csrf(csrf -> csrf.disable()) // no cookies here: a bearer token is never sent by itself
        .build();
  }

  /** @param keysSeconds how long a revoked key may still be believed */
  @Bean
  JwtDecoder accessTokens(
      @Value("${ISSUER:http://localhost:3000}") String issuer,
      @Value("${AUDIENCE:https://orders.example.com}") String audience,
      @Value("${KEYS_SECONDS:300}") long keysSeconds) throws Exception {
    return new Decoders(issuer, keysSeconds).accessTokens(audience);
  }
}
