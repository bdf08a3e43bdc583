# __try of Visual C++ 8 and later on i386: _except_handler4, whose scope table and frame are masked with a cookie.
# int scopes(void (*f)(void)): 1 when f returns, 100 + its code's low byte when it raises; a termination handler inside.
    .text
    .globl _scopes
_scopes:
    push %ebp
    mov %esp, %ebp
    push $-2                    # level: none
    push $table
    push $_handler4
    mov %fs:0, %eax
    push %eax
    sub $24, %esp
    push %ebx
    push %esi
    push %edi
    mov _cookie, %eax
    xor %eax, -8(%ebp)          # the scope table
    xor %ebp, %eax
    push %eax
    lea -16(%ebp), %eax
    mov %eax, %fs:0
    mov %esp, -24(%ebp)
    movl $0, -4(%ebp)
    movl $1, -4(%ebp)
    call *8(%ebp)
    movl $0, -4(%ebp)
    call finally
    movl $-2, -4(%ebp)
    mov $1, %eax
    jmp done
finally:
    incl _finished
    ret
filter:
    mov -20(%ebp), %eax         # EXCEPTION_POINTERS
    mov (%eax), %eax
    mov (%eax), %eax
    mov %eax, -28(%ebp)
    mov $1, %eax
    ret
except:
    mov -24(%ebp), %esp
    movl $-2, -4(%ebp)
    movzbl -28(%ebp), %eax
    add $100, %eax
done:
    mov -16(%ebp), %ecx
    mov %ecx, %fs:0
    pop %ecx
    pop %edi
    pop %esi
    pop %ebx
    leave
    ret
    .globl _handler4
_handler4:
    mov 16(%esp), %eax
    push %eax
    mov 16(%esp), %eax
    push %eax
    mov 16(%esp), %eax
    push %eax
    mov 16(%esp), %eax
    push %eax
    push $nothing
    push $_cookie
    call *_common
    add $24, %esp
    ret
nothing:
    ret
    .section .rdata, "dr"
    .align 4
table:
    .long -2, 0, -52, 0         # offsets of the cookies: none; that of the handler's
    .long -2, filter, except    # level 0
    .long 0, 0, finally         # level 1
