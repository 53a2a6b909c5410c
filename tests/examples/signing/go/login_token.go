package login

import (
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5" // go get github.com/golang-jwt/jwt/v5
)

func Token(userID, email string) (string, error) {
	claims := jwt.MapClaims{
		"user_id": userID,
		"email":   email,
		"exp":     time.Now().Add(time.Hour).Unix(),
	}
	secret := []byte(os.Getenv("MESSENGER_SECRET"))
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
}
