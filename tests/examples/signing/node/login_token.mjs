import jwt from "jsonwebtoken"; // npm install jsonwebtoken

export function loginToken(userId, email) {
  const claims = { user_id: userId, email };
  return jwt.sign(claims, process.env.MESSENGER_SECRET, { algorithm: "HS256", expiresIn: "1h" });
}
