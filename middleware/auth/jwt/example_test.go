package jwt_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	jwtlib "github.com/golang-jwt/jwt/v5"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/middleware/auth/jwt"
)

// Tokens that are signed with one key, for one audience.
func Example() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := jwt.New(jwt.Options{
		Algorithms: []string{"EdDSA"}, Key: public,
		Issuer: "https://id.example", Audience: []string{"chat"}, RequireExpiry: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv, err := core.New(core.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	guard, err := auth.New(srv, auth.Options{Verify: tokens.Verify})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv.Use(guard.Middleware) // and mount srv on an HTTP server

	token, err := jwtlib.NewWithClaims(jwtlib.SigningMethodEdDSA, jwtlib.MapClaims{
		"iss": "https://id.example", "aud": "chat", "sub": "ann", "scope": "read write",
		"exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(private)
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := tokens.Verify(context.Background(), token)
	fmt.Println(id.Subject, id.Scopes, err)
	_, err = tokens.Verify(context.Background(), token[:len(token)-8])
	fmt.Println(err != nil)
	// Output:
	// ann [read write] <nil>
	// true
}
