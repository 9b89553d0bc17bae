package rig

import (
	"context"

	"edgegateway/testbench/broker"
	"edgegateway/testbench/consumer"
)

// Consume books what a broker at the address carries, below the prefix, until the context ends. Its session outlives
// connections, so an outage of its own loses it nothing.
func Consume(ctx context.Context, address, id, prefix string, into *consumer.Recorder) error {
	return broker.Follow(ctx, broker.ClientOptions{
		Address: address, ID: id, Keep: true,
		Take: func(m broker.Message) { into.Take(m.Topic, m.Payload, m.Retained) },
	}, prefix+"/#")
}
