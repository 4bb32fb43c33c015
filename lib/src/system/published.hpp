#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

namespace dbcache::system {

/// A value that threads read and replace without a mutex, which a fork could find locked for ever
/// in the child. Thread-safe; a forked child may go on with it.
///
/// A replaced value is freed once no thread reads. If a fork happens while another thread reads,
/// the child frees nothing until its end, which only costs memory.
template <class Value>
class Published {
 public:
  Published() = default;
  ~Published() {
    delete current_.load();
    free_chain(replaced_.load());
  }
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;

  /// A copy; nothing if there is none yet.
  [[nodiscard]] std::optional<Value> get() const {
    const Reading reading(readers_);
    const Node* const node = current_.load();
    return node == nullptr ? std::nullopt : std::optional<Value>(node->value);
  }

  /// Calls `look(value)` if there is one, without a copy.
  template <class Look>
  void with(Look look) const {
    const Reading reading(readers_);
    if (const Node* const node = current_.load()) look(node->value);
  }

  void put(Value value) {
    set_aside(current_.exchange(new Node{std::move(value)}));
    free_replaced();
  }

  /// Replaces the value by `change(value)`, unless that returns nothing. If another thread replaces
  /// it first, asks again.
  template <class Change>
  void update(Change change) {
    {
      const Reading reading(readers_);
      for (Node* node = current_.load(); node != nullptr;) {
        std::optional<Value> next = change(std::as_const(node->value));
        if (!next) break;
        auto fresh = std::make_unique<Node>(Node{std::move(*next)});
        // Not freed while this thread reads, so no other node has its address.
        if (!current_.compare_exchange_strong(node, fresh.get())) continue;
        static_cast<void>(fresh.release());
        set_aside(node);
        break;
      }
    }
    free_replaced();
  }

 private:
  struct Node {
    Value value;
    Node* next = nullptr;
  };

  class Reading {
   public:
    explicit Reading(std::atomic<int>& readers) : readers_(readers) { ++readers_; }
    ~Reading() { --readers_; }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    std::atomic<int>& readers_;
  };

  static void free_chain(Node* node) {
    while (node != nullptr) delete std::exchange(node, node->next);
  }

  void set_aside(Node* node) {
    if (node != nullptr) set_aside_chain(node, node);
  }
  void set_aside_chain(Node* first, Node* last) {
    last->next = replaced_.load();
    while (!replaced_.compare_exchange_weak(last->next, first)) {
    }
  }

  void free_replaced() {
    Node* const chain = replaced_.exchange(nullptr);
    if (chain == nullptr) return;
    // A thread that begins to read now does not find these.
    if (readers_ == 0) return free_chain(chain);
    Node* last = chain;
    while (last->next != nullptr) last = last->next;
    set_aside_chain(chain, last);
  }

  std::atomic<Node*> current_ = nullptr;
  std::atomic<Node*> replaced_ = nullptr;
  mutable std::atomic<int> readers_ = 0;
};

}  // namespace dbcache::system
