package com.example.orders;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.util.Base64;
import java.util.zip.InflaterInputStream;
import org.springframework.security.oauth2.jwt.Jwt;

/** One bit per token (Token Status List draft §4): asked for again when it is due, believed until it expires. */
record StatusList(byte[] bits, Instant due, Instant expires) {

  private static final int MAX_BYTES = 4 << 20;

  static StatusList of(Jwt list) {
    var packed = Base64.getUrlDecoder().decode((String) list.getClaimAsMap("status_list").get("lst"));
    long ttl = ((Number) list.getClaim("ttl")).longValue();
    try (var unpacking = new InflaterInputStream(new ByteArrayInputStream(packed))) {
      return new StatusList(unpacking.readNBytes(MAX_BYTES), Instant.now().plusSeconds(ttl), list.getExpiresAt());
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  boolean isDue() {
    return Instant.now().isAfter(due);
  }

  boolean isExpired() {
    return Instant.now().isAfter(expires);
  }

  StatusList dueAgainIn(long seconds) {
    return new StatusList(bits, Instant.now().plusSeconds(seconds), expires);
  }

  /** What the list does not have is not good either. */
  boolean isSet(int idx) {
    return idx < 0 || idx >> 3 >= bits.length || (bits[idx >> 3] >> (idx & 7) & 1) == 1;
  }
}
