require "jwt" # gem install jwt

def login_token(user_id, email)
  claims = { user_id: user_id, email: email, exp: Time.now.to_i + 3600 }
  JWT.encode(claims, ENV.fetch("MESSENGER_SECRET"), "HS256")
end
