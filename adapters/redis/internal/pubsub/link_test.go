package pubsub

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
)

// Who has little time does not wait until dialling has failed, and Close does not
// either.
func TestDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dialTime = time.Minute
		refused := errors.New("nobody is there")
		link := NewLink(rueidis.ClientOption{
			ForceSingleClient: true,
			DialCtxFn: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
				<-time.After(dialTime)
				return nil, refused
			},
		}, nil)
		begun := time.Now()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := link.Client(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if _, err := link.Client(t.Context()); !errors.Is(err, refused) {
			t.Error(err)
		}
		if took := time.Since(begun); took != dialTime {
			t.Errorf("it took %v", took)
		}
		<-time.After(maxPause)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = link.Client(ctx)
		link.Close(ctx)
		if took := time.Since(begun); took != dialTime+maxPause+time.Second {
			t.Errorf("it took %v", took)
		}
		if _, err := link.Client(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		<-time.After(dialTime)
	})
}
