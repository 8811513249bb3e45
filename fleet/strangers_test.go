package fleet_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

// TestF07_StrangersAreBounded writes into the store what no replica does.
func TestF07_StrangersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewMemory()
		told, options := newSignals(t)
		r := newReplica(t, store, "own", five, append(options, fleet.WithPolicy(fleet.LeaderOfOne()), fleet.WithMaxReplicas(10))...)
		sibling := newReplica(t, store, "sibling", five, fleet.WithPolicy(fleet.LeaderOfOne()))
		time.Sleep(time.Minute)
		vote := theVote(t, store, sibling)
		r.b.Reset()
		put := func(key, value string) {
			if err := store.Put(t.Context(), key, []byte(value), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		beat := func(votes string) string { return `{"number":1,"life":15000,"votes":` + votes + `}` }
		bad := map[string]string{
			"v1.default.replica.UPPER":                      beat(`{}`),
			"v1.default.replica." + strings.Repeat("x", 65): beat(`{}`),
			"v1.default.replica.a":                          `{`,
			"v1.default.replica.b":                          beat(`{}`) + `{}`,
			"v1.default.replica.c":                          beat(`{"` + vote + `":"not a token"}`),
			"v1.default.replica.d":                          beat(`{"https://payments.example":"00000000"}`),
			"v1.default.replica.e":                          `{"number":1,"life":-1,"votes":{"` + vote + `":"00000000"}}`,
			"v1.default.replica.f":                          `{"number":1,"life":99999999999999,"votes":{"` + vote + `":"00000000"}}`,
			"v1.default.replica.g":                          `{"number":1,"life":1000,"more":true,"votes":{"` + vote + `":"00000000"}}`,
			"v1.default.replica.h":                          beat(`{"`+vote+`":"00000000"}`) + strings.Repeat(" ", fleet.MaxValueSize),
			"v1.default.breaker." + vote:                    `{"state":"recovered","replica":"A B","token":"00000000","life":1}`,
			"v1.default.breaker.short":                      `{"state":"recovered","replica":"a","token":"00000000","life":1}`,
			"v1.default.other." + vote:                      `{}`,
			"v1.default." + strings.Repeat("k", 250):        `{}`,
			"v2.default.replica.later":                      beat(`{"` + vote + `":"00000000"}`), // not even seen
			"v1.another.replica.of-another-fleet":           beat(`{"` + vote + `":"00000000"}`),
			"v1.default.replica.many":                       beat(manyVotes(401)),
		}
		before := told.values()["circuit_breaker.fleet.errors value"]
		for key, value := range bad {
			put(key, value)
		}
		synctest.Wait()
		if n := told.values()["circuit_breaker.fleet.errors value"] - before; n != int64(len(bad)-2) {
			t.Errorf("%d values were refused, want %d", n, len(bad)-2)
		}
		if r.b.State() != breaker.Closed || r.member.Replicas() != 2 {
			t.Errorf("it is %v and knows of %d replicas", r.b.State(), r.member.Replicas())
		}
		for i := range 100 { // of the right form, but too many
			put(fmt.Sprintf("v1.default.replica.many-%d", i), beat(`{}`))
		}
		for i := range 3000 {
			put(fmt.Sprintf("v1.default.breaker.%024x", i), `{"state":"failed","replica":"a","token":"00000000","life":1000}`)
		}
		synctest.Wait()
		if n := r.member.Replicas(); n != 11 {
			t.Errorf("it knows of %d replicas, want 10 and itself", n)
		}
		time.Sleep(2 * time.Minute)
		if n := r.member.Replicas(); n != 2 {
			t.Errorf("once the strangers have expired it knows of %d replicas", n)
		}
	})
}

func manyVotes(n int) string {
	votes := map[string]string{}
	for i := range n {
		votes[fmt.Sprintf("%024x", i)] = "00000000"
	}
	text, _ := json.Marshal(votes)
	return string(text)
}

// theVote opens and resets a breaker to see by which name it is voted on.
func theVote(t *testing.T, store *enginetest.Memory, r *replica) string {
	t.Helper()
	r.fail(5)
	synctest.Wait()
	var beat struct{ Votes map[string]string }
	if err := json.Unmarshal(store.Entries()["v1.default.replica."+r.name], &beat); err != nil || len(beat.Votes) != 1 {
		t.Fatalf("%v: %q", err, store.Entries())
	}
	r.b.Reset()
	time.Sleep(time.Minute)
	for id := range beat.Votes {
		return id
	}
	return ""
}

func TestF07_WhatIsCalledIsNotInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewMemory()
		c := five
		c.Service, c.Endpoint = "payments", "https://payments.internal.example:8443"
		all := start(t, store, 2, c, fleet.WithPolicy(fleet.LeaderOfOne()))
		stop := traffic(&upstream{}, all, 50*time.Millisecond)
		all[0].fail(5)
		time.Sleep(11 * time.Second)
		for key, value := range store.Entries() {
			if strings.Contains(key+string(value), "payments") || len(key) > fleet.MaxKeySize {
				t.Errorf("%s: %s", key, value)
			}
		}
		stop()
	})
}
