package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	jwtlib "github.com/golang-jwt/jwt/v5"
)

// keys of all kinds, made once.
var (
	secret   = []byte(strings.Repeat("a secret of 64 bytes", 4)[:64])
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return made(rsa.GenerateKey(rand.Reader, 2048)) })
	weakKey  = sync.OnceValue(func() *rsa.PrivateKey { return made(rsa.GenerateKey(rand.Reader, 1024)) })
	p256Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return made(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return made(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return made(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey    = sync.OnceValue(newEd)
	otherKey = sync.OnceValue(newEd)
)

func newEd() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return made(key, err)
}

func made[K any](key K, err error) K {
	if err != nil {
		panic(err)
	}
	return key
}

// sign makes a token. kid "" is none.
func sign(t *testing.T, algorithm, kid string, key any, claims map[string]any) string {
	t.Helper()
	token := jwtlib.NewWithClaims(jwtlib.GetSigningMethod(algorithm), jwtlib.MapClaims(claims))
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// raw makes a token of any header, with a signature of whatever.
func raw(t *testing.T, header, claims map[string]any, signature []byte) string {
	t.Helper()
	parts := make([]string, 2, 3)
	for i, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(text)
	}
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), ".")
}

// jwk is a public key as issuers publish it.
func jwk(kid string, key crypto.PublicKey, more ...string) map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	out := map[string]any{"kid": kid}
	switch key := key.(type) {
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", b64(key.N.Bytes()), "AQAB"
	case *ecdsa.PublicKey:
		point := made(key.Bytes())[1:]
		out["kty"], out["crv"] = "EC", fmt.Sprintf("P-%d", key.Params().BitSize)
		out["x"], out["y"] = b64(point[:len(point)/2]), b64(point[len(point)/2:])
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", b64(key)
	case []byte:
		out["kty"], out["k"] = "oct", b64(key)
	}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// set is the JSON of a key set.
func set(keys ...map[string]any) string {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(text)
}
