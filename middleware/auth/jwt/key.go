package jwt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/upshift-go/upshift/middleware/auth"
)

// minRSABits is what RFC 7518 asks for.
const minRSABits = 2048

// checkAlgorithms returns what is wrong with Options.Algorithms.
func checkAlgorithms(names []string) error {
	if len(names) == 0 {
		return errors.New("jwt: Options.Algorithms is empty: name those that the issuer signs with")
	}
	secret := strings.HasPrefix(names[0], "HS")
	for _, name := range names {
		switch jwt.GetSigningMethod(name).(type) {
		case *jwt.SigningMethodHMAC, *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS, *jwt.SigningMethodECDSA, *jwt.SigningMethodEd25519:
		default:
			return fmt.Errorf("jwt: Options.Algorithms: %q is not one of them", name)
		}
		if strings.HasPrefix(name, "HS") != secret {
			return errors.New("jwt: Options.Algorithms mixes shared secrets and public keys")
		}
	}
	return nil
}

// checkKeys returns what is wrong with the keys: each must fit an algorithm.
func checkKeys(o *Options) error {
	sources := 0
	for _, there := range []bool{o.Key != nil, o.Keys != nil, o.KeySet != nil} {
		if there {
			sources++
		}
	}
	if sources != 1 {
		return errors.New("jwt: Options needs one of Key, Keys and KeySet")
	}
	if o.KeySet != nil {
		if strings.HasPrefix(o.Algorithms[0], "HS") {
			return errors.New("jwt: a KeySet has public keys, and Options.Algorithms shared secrets")
		}
		return nil
	}
	if o.Key != nil {
		return checkKey(o.Key, o.Algorithms)
	}
	for id, key := range o.Keys {
		if err := checkKey(key, o.Algorithms); err != nil {
			return fmt.Errorf("%w (%q)", err, id)
		}
	}
	return nil
}

func checkKey(key any, algorithms []string) error {
	if secret, ok := key.([]byte); ok && bytes.Contains(secret, []byte("-----BEGIN")) {
		return errors.New("jwt: a key in PEM is text, not a key: parse it")
	}
	err := errors.New("jwt: no algorithm for a key")
	for _, name := range algorithms {
		if err = fits(key, jwt.GetSigningMethod(name)); err == nil {
			return nil
		}
	}
	return err
}

// fits returns why a key cannot be used with an algorithm. The library checks the
// types once more.
func fits(key any, method jwt.SigningMethod) error {
	switch key := key.(type) {
	case []byte:
		if m, ok := method.(*jwt.SigningMethodHMAC); ok {
			if len(key) < m.Hash.Size() {
				return fmt.Errorf("jwt: the secret is shorter than the %d bytes of %s", m.Hash.Size(), m.Name)
			}
			return nil
		}
	case *rsa.PublicKey:
		switch method.(type) {
		case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
			if key == nil || key.N == nil || key.N.BitLen() < minRSABits {
				return fmt.Errorf("jwt: an RSA key has less than %d bits", minRSABits)
			}
			return nil
		}
	case *ecdsa.PublicKey:
		if m, ok := method.(*jwt.SigningMethodECDSA); ok && key != nil && key.Curve != nil && key.Params().BitSize == m.CurveBits {
			return nil
		}
	case ed25519.PublicKey:
		if _, ok := method.(*jwt.SigningMethodEd25519); ok && len(key) == ed25519.PublicKeySize {
			return nil
		}
	}
	return fmt.Errorf("jwt: a %T is no key for %s", key, method.Alg())
}

// key finds the key of a token, whose algorithm is one of ours.
func (v *Verifier) key(ctx context.Context, t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok {
		return nil, errors.New("jwt: the token has critical extensions, of which none is known")
	}
	id, _ := t.Header["kid"].(string)
	var key any
	switch {
	case v.options.Key != nil:
		key = v.options.Key
	case v.options.KeySet != nil:
		var err error
		if key, err = v.options.KeySet.find(ctx, id, t.Method); err != nil {
			return nil, err
		}
	default:
		key = v.options.Keys[id]
	}
	if key == nil {
		return nil, fmt.Errorf("%w: unknown key %.64q", auth.ErrInvalid, id)
	}
	return key, fits(key, t.Method)
}
