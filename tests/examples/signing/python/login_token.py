import os
import time

import jwt  # pip install pyjwt


def login_token(user_id, email):
    claims = {"user_id": user_id, "email": email, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, os.environ["MESSENGER_SECRET"], algorithm="HS256")
