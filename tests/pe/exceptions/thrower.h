#pragma once
#include <exception>
#include <stdexcept>
#include <string>
#ifndef _WIN32
#define API
#elif defined(THROWER)
#define API __declspec(dllexport)
#else
#define API __declspec(dllimport)
#endif
struct API Base {
    virtual ~Base();
    virtual const char *name() const;
};
struct API Derived : Base {
    int value;
    explicit Derived(int v) : value(v) {}
    const char *name() const override;
};
struct API Other : virtual Base, std::runtime_error {
    explicit Other(const std::string &what) : std::runtime_error(what) {}
    const char *name() const override;
};
/* Kinds: 0 nothing, 1 Derived by value, 2 Other, 3 int, 4 bad_alloc from new, 5 a pointer. */
API void throws(int kind);
/* Calls back, with an object of its own on the stack. */
API int through(int (*f)(int), int x);
API std::exception_ptr kept(int kind);
