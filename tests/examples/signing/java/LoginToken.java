import com.auth0.jwt.JWT; // com.auth0:java-jwt:4
import com.auth0.jwt.algorithms.Algorithm;
import java.time.Instant;

class LoginToken {
    static String of(String userId, String email) {
        return JWT.create()
                .withClaim("user_id", userId)
                .withClaim("email", email)
                .withExpiresAt(Instant.now().plusSeconds(3600))
                .sign(Algorithm.HMAC256(System.getenv("MESSENGER_SECRET")));
    }
}
