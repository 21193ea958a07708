package pubsub

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
)

// Publish sends a batch over one connection, which keeps its order.
func Publish(ctx context.Context, link *Link, batch []cluster.Publication) error {
	client, err := link.Client(ctx)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	node := Node(client)
	commands := make(rueidis.Commands, len(batch))
	for i, p := range batch {
		commands[i] = node.B().Publish().Channel(p.Channel).Message(rueidis.BinaryString(p.Data)).Build()
	}
	return FirstError(node.DoMulti(ctx, commands...))
}

// FirstError is the first that went wrong of a pipeline.
func FirstError(results []rueidis.RedisResult) error {
	for _, r := range results {
		if err := r.Error(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
	}
	return nil
}

// Count sums what each server of a cluster says about a channel.
func Count(ctx context.Context, link *Link, command func(rueidis.Builder) rueidis.Completed) (int, error) {
	client, err := link.Client(ctx)
	if err != nil {
		return 0, fmt.Errorf("redis: %w", err)
	}
	sum := 0
	for _, node := range client.Nodes() {
		counts, err := node.Do(ctx, command(node.B())).AsIntMap()
		if err != nil {
			return 0, fmt.Errorf("redis: %w", err)
		}
		for _, n := range counts {
			sum += int(n)
		}
	}
	return sum, nil
}

// Names returns what stands in the place of the star in the channels that match a
// pattern, which ends with a star and a suffix.
func Names(ctx context.Context, link *Link, prefix, suffix string, command func(rueidis.Builder, string) rueidis.Completed) ([]string, error) {
	client, err := link.Client(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	var all []string
	var failed error
	for _, node := range client.Nodes() {
		channels, err := node.Do(ctx, command(node.B(), Escape(prefix)+"*"+suffix)).AsStrSlice()
		failed = errors.Join(failed, err)
		for _, c := range channels {
			all = append(all, strings.TrimSuffix(strings.TrimPrefix(c, prefix), suffix))
		}
	}
	return all, failed
}

var globs = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// Escape makes of a text the pattern that matches it alone.
func Escape(text string) string { return globs.Replace(text) }
