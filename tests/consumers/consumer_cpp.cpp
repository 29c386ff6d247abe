// consumer_c.c as C++.
#define MODULE "consumer_cpp"
#define INITIALIZE PyInit_consumer_cpp
#include "consumer_c.c"
