package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	namespace = "default"
	made      = 20
)

// seen is what an informer was told, by name of the object.
type seen struct {
	lock                    sync.Mutex
	added, updated, deleted map[string]int
}

func (s *seen) count(into map[string]int, object any) {
	if gone, is := object.(cache.DeletedFinalStateUnknown); is {
		object = gone.Obj
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	into[object.(*core.ConfigMap).Name]++
}

// all says whether each of the made objects was told about exactly once.
func (s *seen) all(told map[string]int) (bool, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for i := range made {
		if n := told[name(i)]; n > 1 {
			fail(fmt.Sprintf("%s was told %d times", name(i), n))
		} else if n == 0 {
			return false, fmt.Errorf("%s was not told", name(i))
		}
	}
	return true, nil
}

func name(i int) string { return fmt.Sprintf("informed-%02d", i) }

// informers has two candidates for a lease, of which the leader keeps a cache; the other takes over.
func informers(config *rest.Config) {
	leases := coordinationclient.NewForConfigOrDie(config)
	first, resign := context.WithCancel(context.Background())
	second, end := context.WithCancel(context.Background())
	leads := make(chan string, 2)
	ended := campaign(first, leases, "first", leads)
	eventually("the first candidate leads", received(leads, "first"))
	over := campaign(second, leases, "second", leads)
	keepsACache(first, coreclient.NewForConfigOrDie(config))
	lease, err := leases.Leases(namespace).Get(second, "clients", meta.GetOptions{})
	check(err)
	if *lease.Spec.HolderIdentity != "first" {
		fail("the lease is held by " + *lease.Spec.HolderIdentity)
	}
	resign()
	<-ended
	eventually("the second candidate leads", received(leads, "second"))
	end()
	<-over
}

func received(leads chan string, wanted string) func(context.Context) (bool, error) {
	return func(context.Context) (bool, error) {
		select {
		case leader := <-leads:
			if leader != wanted {
				fail(leader + " leads, and not " + wanted)
			}
			return true, nil
		default:
			return false, nil
		}
	}
}

// campaign runs for the lease until the context ends; the channel that it gives is closed afterwards.
func campaign(ctx context.Context, leases coordinationclient.LeasesGetter, who string, leads chan string) chan struct{} {
	ended := make(chan struct{})
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  meta.ObjectMeta{Name: "clients", Namespace: namespace},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: who},
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, ReleaseOnCancel: true, Name: who,
		LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 200 * time.Millisecond,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { leads <- who },
			OnStoppedLeading: func() {},
		},
	})
	check(err)
	go func() {
		elector.Run(ctx)
		close(ended)
	}()
	return ended
}

// keepsACache follows objects from before and after the start of a shared informer.
func keepsACache(ctx context.Context, client *coreclient.CoreV1Client) {
	maps := client.ConfigMaps(namespace)
	create := func(i int) {
		object := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: name(i), Labels: map[string]string{"app": "informed"}}}
		_, err := maps.Create(ctx, object, meta.CreateOptions{})
		check(err)
	}
	for i := range made / 2 {
		create(i)
	}
	source := cache.NewFilteredListWatchFromClient(client.RESTClient(), "configmaps", namespace,
		func(options *meta.ListOptions) { options.LabelSelector = "app=informed" })
	informer := cache.NewSharedIndexInformer(source, &core.ConfigMap{}, 0, cache.Indexers{})
	told := &seen{added: map[string]int{}, updated: map[string]int{}, deleted: map[string]int{}}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { told.count(told.added, object) },
		UpdateFunc: func(_, object any) { told.count(told.updated, object) },
		DeleteFunc: func(object any) { told.count(told.deleted, object) },
	})
	check(err)
	go informer.RunWithContext(ctx)
	cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
	for i := made / 2; i < made; i++ {
		create(i)
	}
	eventually("every object was added once", func(context.Context) (bool, error) { return told.all(told.added) })
	patch := []byte(`{"data": {"key": "value"}}`)
	for i := range made {
		_, err := maps.Patch(ctx, name(i), types.StrategicMergePatchType, patch, meta.PatchOptions{})
		check(err)
	}
	eventually("every object was updated once", func(context.Context) (bool, error) { return told.all(told.updated) })
	cached := informer.GetStore().List()
	for _, object := range cached {
		if object := object.(*core.ConfigMap); object.Data["key"] != "value" {
			fail(object.Name + " is old in the cache")
		}
	}
	if len(cached) != made {
		fail(fmt.Sprintf("%d objects are in the cache", len(cached)))
	}
	selected := meta.ListOptions{LabelSelector: "app=informed"}
	check(maps.DeleteCollection(ctx, meta.DeleteOptions{}, selected))
	eventually("every object was deleted once", func(context.Context) (bool, error) { return told.all(told.deleted) })
	if _, err := maps.Get(ctx, name(0), meta.GetOptions{}); !errors.IsNotFound(err) {
		fail(fmt.Sprintf("a deleted object: %v", err))
	}
}
