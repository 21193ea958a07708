package nats

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
)

// page is how many events are read at once of what clients have missed.
const page = 500

// Read implements cluster.Log. What comes after it must be what the reader hands on, so
// that has to have begun.
func (e *logEngine) Read(ctx context.Context, namespace string, from core.Offset, take func(m *cluster.Message)) (core.Offset, error) {
	if err := e.reader.ready(ctx, nil); err != nil {
		return core.Offset{}, err
	}
	stream, err := e.js.Stream(ctx, e.log.Stream)
	if err != nil {
		return core.Offset{}, fmt.Errorf("nats: %w", err)
	}
	info := stream.CachedInfo()
	until := offset(info.Created, info.State.LastSeq)
	if from.Major != until.Major || from.Minor > until.Minor {
		return core.Offset{}, fmt.Errorf("%w: nothing is known of offset %v", core.ErrNotRecoverable, from)
	}
	if from.Minor < until.Minor {
		if err := e.readPages(ctx, stream, namespace, from, until, take); err != nil {
			return core.Offset{}, err
		}
	}
	// That nothing was dropped is looked at last: then it was not while reading.
	if info, err = stream.Info(ctx); err != nil {
		return core.Offset{}, fmt.Errorf("nats: %w", err)
	}
	if info.State.FirstSeq > from.Minor+1 {
		return core.Offset{}, fmt.Errorf("%w: what came after %v is not kept any more", core.ErrNotRecoverable, from)
	}
	return until, nil
}

// readPages reads the events of a namespace after from, up to until.
func (e *logEngine) readPages(ctx context.Context, stream jetstream.Stream, namespace string, from, until core.Offset, take func(m *cluster.Message)) error {
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: e.logSubject(namespace), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from.Minor + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: answerTime,
	})
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	for left := consumer.CachedInfo().NumPending; left > 0; {
		batch, err := consumer.Fetch(int(min(left, page)), jetstream.FetchContext(ctx))
		if err != nil {
			return fmt.Errorf("nats: %w", err)
		}
		for m := range batch.Messages() {
			left--
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("nats: %w", err)
			}
			message, err := cluster.ReadMessage(m.Data())
			if meta.Sequence.Stream > until.Minor || err != nil || message.Type != cluster.Broadcast || message.Flags.Volatile {
				continue // what cannot be read has been complained of when it came
			}
			message.Offset = core.Offset{Major: until.Major, Minor: meta.Sequence.Stream}
			take(message)
		}
		if err := batch.Error(); err != nil {
			return fmt.Errorf("nats: %w", err)
		}
	}
	_ = stream.DeleteConsumer(ctx, consumer.CachedInfo().Name) // it goes by itself, only later
	return nil
}
