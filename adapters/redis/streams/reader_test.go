package streams_test

import (
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/redis/streams"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/redistest"
	"github.com/upshift-go/upshift/upshifttest"
)

// What is lost in a stream that is emptied, and goes on, between two reads over one
// connection, is said to be.
func TestEmptiedBetweenReads(t *testing.T) {
	server := redistest.Start(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	o := options(server.Addr)
	adapter := streams.New(o)
	srv := upshifttest.NewServer(t, core.Options{Adapter: adapter, Recovery: &core.Recovery{}})
	c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
	// It reads from where the stream ended when it has begun.
	for adapter.Position().IsZero() {
		<-time.After(time.Millisecond)
	}
	add := func(event string) rueidis.Completed {
		return client.B().Xadd().Key(o.Stream).Id("*").FieldValue().FieldValue("uid", "other").FieldValue("nsp", "/").FieldValue("type", "3").
			FieldValue("data", `{"packet":{"type":2,"data":["`+event+`"]},"opts":{"rooms":[],"except":[],"flags":{}}}`).Build()
	}
	if err := client.Do(t.Context(), add("seen")).Error(); err != nil {
		t.Fatal(err)
	}
	if e := c.Next(); e.Name != "seen" {
		t.Fatalf("received %v", e)
	}
	for _, r := range client.DoMulti(t.Context(), client.B().Multi().Build(), add("lost"),
		client.B().Del().Key(o.Stream).Build(), add("next"), client.B().Exec().Build()) {
		if r.Error() != nil {
			t.Fatal(r.Error())
		}
	}
	if e := c.Next(); e.Name != "next" {
		t.Fatalf("received %v", e)
	}
	if stats := adapter.Stats(); stats.Gaps != 1 {
		t.Errorf("%+v", stats)
	}
}

// What is sent at once, before it is known from where the stream is to be read, reaches
// the own clients.
func TestSentAtOnce(t *testing.T) {
	server := redistest.Start(t)
	for range 10 {
		srv := upshifttest.NewServer(t, core.Options{Adapter: streams.New(options(server.Addr)), Recovery: &core.Recovery{}})
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		for _, event := range []string{"one", "two"} {
			if err := srv.Of("/").Emit(t.Context(), event); err != nil {
				t.Fatal(err)
			}
			c.Expect(event)
		}
	}
}
