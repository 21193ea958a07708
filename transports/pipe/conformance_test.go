package pipe_test

import (
	"testing"

	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
	"github.com/upshift-go/upshift/transports/transporttest"
)

// conforming is the client of a pipe as the suite wants it.
type conforming struct{ *pipe.Client }

func (c conforming) Vanish() { c.Cut() }

func conformance(bubble bool) transporttest.Config {
	tr := pipe.New()
	return transporttest.Config{
		Transport: tr,
		Bubble:    bubble,
		Start: func(_ testing.TB, host *transporttest.Host) transporttest.Dial {
			return func(early ...transports.Packet) (transporttest.Client, error) {
				client, err := tr.Dial(host, transports.Handshake{})
				if err != nil {
					return nil, err
				}
				return conforming{client}, ignoreClosed(client.Send(early...))
			}
		},
	}
}

// ignoreClosed passes over the end of a connection that was accepted.
func ignoreClosed(err error) error {
	if err == pipe.ErrClosed { //nolint:errorlint // it is never wrapped
		return nil
	}
	return err
}

func TestConformance(t *testing.T) { transporttest.Run(t, conformance(false)) }

// The same in synctest bubbles, where a wait that nobody ends is found at once.
func TestConformanceInBubbles(t *testing.T) { transporttest.Run(t, conformance(true)) }
